package torch

// measuredVersion is how findings name the version of the measured facts.
const measuredVersion = "1.13"

// override adds to the measured table what it could not hold.
func override(t *table) {}
