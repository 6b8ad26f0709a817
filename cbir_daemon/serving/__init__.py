"""Questions from clients: the socket that listens, and what each method means.

`server` moves messages and never knows what they mean; `handlers` know what they mean and never see a socket.
"""
