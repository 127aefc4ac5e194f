# METADATA
# title: What OPA's decision log must not hold
# description: |
#   A call's arguments, their names included, and what a caller's token claims; which rule decided and why stays.
package system.log

mask contains "/input/arguments"

mask contains "/input/keys"

mask contains "/input/principal/claims"

# Several questions in one request: which of them has what is not told apart.
mask contains "/input/questions"
