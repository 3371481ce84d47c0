"""Measurement sources: each is a small module whose result is rows of a table.

Those that time modules on a device keep the contract in `contract.py` (torch here or on a GPU,
ONNX Runtime here, Core ML on this Mac or on a phone); those that read what was measured elsewhere
return rows (reports of Xcode, ONNX Runtime, TFLite and Qualcomm AI Hub, told apart in `reports.py`;
Core ML compute plans, tables). `nas.testing` has a conformance suite for each kind.
"""
