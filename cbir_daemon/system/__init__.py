"""What the operating system and the service manager give: child processes, heartbeat of the threads, sockets, mounts.

In: descriptors, promises of threads, tables of the kernel.  Out: processes and frames, threads that are late, mounts.
Never here: images, the index, what a thread or a child does.
"""
