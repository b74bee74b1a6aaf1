"""The state as people want to see it: who, why, how many, what is open. Reads only; prints nothing."""
