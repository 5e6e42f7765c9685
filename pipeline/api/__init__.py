"""The functions for scripts and notebooks, which `import pipeline` offers.

They call the same jobs as the command line: a study that one has begun, the other goes on with.
"""
