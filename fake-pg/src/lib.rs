//! Under construction: modules land one by one.
