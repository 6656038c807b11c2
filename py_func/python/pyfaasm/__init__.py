"""The names of the original library of Faasm, for functions that were written for it. New ones rather use `faasm`."""

from pyfaasm import config, core

__all__ = ["config", "core"]
