"""Providers: the only importer of model SDKs. See ``base`` for the seam."""
