"""Questions from clients: the socket that listens, and what each method means.

In: connections.  Out: answers.  Never here: how the answers are found, SQL, pixels.

`server` moves messages and never knows what they mean; `handlers` know what they mean and never see a socket.
"""
