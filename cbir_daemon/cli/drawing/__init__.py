"""Drawings that the client makes of an answer: the curve of a fit, and the page of the map.

In: answers of the daemon.  Out: bytes of a file.  Never here: sockets, numpy, decoded images; nothing here is loaded
before a picture is wanted.
"""
