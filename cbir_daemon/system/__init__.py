"""The services of kernel and service manager: child processes, heartbeat of the threads, sockets, mounts.

In: descriptors, promises of threads, tables of the kernel.  Out: processes and frames, threads that are late, mounts.
Never here: images, the index, what a thread or a child does.
"""
