"""Thresholds: operating points, how they are chosen, how sure an answer is, and how much data a claim needs."""
