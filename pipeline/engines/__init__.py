"""Where trials are trained: in this process, in worker processes, on several GPUs, or on a Ray cluster."""
