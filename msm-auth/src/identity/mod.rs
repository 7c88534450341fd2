//! Who a member is: SPIFFE IDs, X.509-SVIDs, and where they come from.
