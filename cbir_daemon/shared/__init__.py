"""The shared index: what several daemons, each a site, publish of their contents into one Milvus.

In: contents of this site, vectors that are asked for.  Out: rows in the shared index; contents of other sites that were
verified here.  Never here: pixels, files of albums, a cluster of our own.

SQLite stays the truth of each site; the shared index can be made again from the sites alone.  `engine` is the one door
to Milvus, `layout` says how a row looks and refuses what is none, `publisher` tells the shared index what has changed
here, `lookup` asks it.
"""
