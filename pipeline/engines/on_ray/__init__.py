"""Trains trials on a Ray cluster: each trial is a Ray task.

`cluster` joins the cluster and makes the engine. `engine` runs in the process of the command, `task`
on the nodes of the cluster. Messages go from a task to the engine through the actor of `mailbox`.
"""
