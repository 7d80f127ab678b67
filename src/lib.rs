//! Worker pools, bulkheads, breakers, deadlines and retries that keep a service up when a dependency is down.
