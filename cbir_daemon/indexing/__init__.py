"""How the index is kept equal to the albums: which folders are watched, and what is read and written.

In: hints, walks, settings of albums.  Out: committed changes and a new snapshot to search.  Never here: pixels, SQL.
"""
