"""Thresholds: operating points, how they are chosen, the confidence of answers, and how much data a claim needs."""
