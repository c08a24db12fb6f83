"""Wire types: frozen structs for everything that crosses HTTP, exactly as Crush spells it.

Nothing here knows a transport, a clock or a database.
"""
