"""The carriers' side, as AfterShip shows it: one API over many carriers, a tracking per parcel, checkpoints in it.

Public documentation: aftership.com/docs/tracking, version 2026-07.
"""
