"""What runs a deployed network without this package: a script a task, and parts that it takes in whole.

They need numpy, soundfile and onnxruntime. :mod:`kd_lightning.deploy.script` makes one file of a script and its parts.
"""
