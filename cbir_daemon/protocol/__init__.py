"""Bytes and messages of the socket, without sockets: `framing` cuts, `messages` means."""
