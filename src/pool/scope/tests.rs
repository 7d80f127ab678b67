use super::Pool;

#[test]
fn a_long_scope_keeps_nothing_of_the_jobs_that_are_over() {
    let pool = Pool::builder("long").threads(1).queue(1).build().unwrap();
    pool.scope(|s| {
        for n in 0..1_000 {
            assert_eq!(s.submit(move || n).join().unwrap(), n);
            // The last may not be over yet when its handle is told; nor is it taken out before the next enters.
            assert!(s.roll.lock().jobs.len() <= 2, "after {n}");
        }
    });
}
