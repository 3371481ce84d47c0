"""Torch to ONNX, for ONNX Runtime here and for whatever reads ONNX elsewhere."""
