"""Solvers of the adjoint system, one algorithm per file."""
