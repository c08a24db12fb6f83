"""The commands' options and help texts. Nothing here is slow to import."""
