"""Finished runs -> one honest table, with the curves and pictures that go with it."""
