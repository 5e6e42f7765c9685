"""Trains trials on a Ray cluster: each trial is a Ray task.

`cluster` joins the cluster and makes the engine. `engine` runs in the process of the command, and
`task` on the nodes. Tasks send messages to the engine through the actor of `mailbox`.
"""
