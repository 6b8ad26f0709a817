"""The daemon as a whole: what runs, in which order it starts and stops, its backups, and the doctor.

In: a `Config`.  Out: a running daemon, until a signal; what is wrong with a state.  Never here: formats, SQL.
"""
