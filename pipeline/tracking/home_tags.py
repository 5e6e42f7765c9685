"""The tags of MLflow's default experiment that say where a tracking file is at home."""

HOME = "sweep.home"  # the folder in which a command last wrote the file
COPY_OF = "sweep.copy_of"  # the folder that it was copied from, if that was there
COPIED = "sweep.copied"  # when that was noticed, in milliseconds: runs begun before are shared
EXPERIMENT = 0  # MLflow's default experiment, which every store has
