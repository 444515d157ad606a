"""Kernels in C++ that the compiler of the machine at hand makes when they are wanted; nothing needs them."""
