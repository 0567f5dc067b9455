"""A catalog becomes an index: plan what changed, embed it, write it."""
