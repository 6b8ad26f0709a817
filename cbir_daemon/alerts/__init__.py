"""Alerts: which a user gets, and that they arrive.

In: images with their matches; alerts in the store; settings.  Out: alerts wanted; messages to every place that alerts
go to, each delivered at least once, with its id.  Never here: how matches were found, our own socket.

`policy` says which alerts are wanted, `message` what is said of them, `outbox` when, to whom and how often; each kind
of place has a module of its own.
"""

from cbir_daemon.alerts.message import Message, alert_to_json
from cbir_daemon.alerts.outbox import Outbox
from cbir_daemon.alerts.policy import Policy

__all__ = ["Message", "Outbox", "Policy", "alert_to_json"]
