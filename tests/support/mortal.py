"""A storage of studies in memory whose process is killed before a chosen write."""

from __future__ import annotations

import optuna


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


WRITES = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "create_new_trial",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


class MortalStorage(optuna.storages.InMemoryStorage):
    """A storage whose process is killed just before its n-th write; it notes each write."""

    def __init__(self):
        super().__init__()
        self.left = None
        self.writes = []


def _mortal(name):
    def write(self, *args, **options):
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise Killed(name)
            self.left -= 1
        self.writes.append((name, *args, *options.values()))
        return getattr(optuna.storages.InMemoryStorage, name)(self, *args, **options)

    return write


for _name in WRITES:
    setattr(MortalStorage, _name, _mortal(_name))
