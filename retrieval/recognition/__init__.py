"""From a photo to an answer: neighbors, votes, verdict."""
