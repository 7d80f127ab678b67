use super::*;
use std::error::Error;

#[test]
fn every_error_goes_into_a_boxed_one_and_keeps_its_source() {
    fn boxed<E: Error + Send + Sync + 'static>(e: E) -> Box<dyn Error + Send + Sync> {
        e.into()
    }
    let refused = boxed(Rejected::new(RejectReason::ShuttingDown, || std::cell::Cell::new(1)));
    assert!(refused.source().unwrap().downcast_ref::<RejectReason>().is_some());
    assert_eq!(boxed(JobError::Panicked(PanicPayload::new(Box::new("x")))).to_string(), "job panicked");
    let failed: CallError<io::Error> = CallError::Failed(io::Error::other("x"));
    assert_eq!(boxed(failed).source().unwrap().to_string(), "x");
}

#[test]
fn started_is_false_for_a_refusal_only() {
    let all: [(CallError<u8>, bool); 4] = [
        (CallError::Rejected(RejectReason::NoThreads), false),
        (CallError::Interrupted(Interrupted::DeadlinePassed), true),
        (CallError::Panicked(PanicPayload::new(Box::new(1))), true),
        (CallError::Failed(1), true),
    ];
    for (e, started) in all {
        assert_eq!(e.started(), started);
        assert_eq!(e.map(u32::from).started(), started);
    }
}

#[test]
fn an_interruption_is_never_the_io_kind_that_is_retried() {
    for why in [Interrupted::DeadlinePassed, Interrupted::Cancelled(CancelCause::Requested)] {
        assert_ne!(io::Error::from(why).kind(), io::ErrorKind::Interrupted);
    }
}

#[test]
fn names_are_checked() {
    assert!(BuildError::check_name("payments").is_ok());
    for bad in ["", "a\0b", &"x".repeat(65)] {
        assert!(matches!(BuildError::check_name(bad), Err(BuildError::Name { .. })));
    }
}

#[test]
fn a_payload_keeps_its_text() {
    assert_eq!(PanicPayload::new(Box::new("a")).message(), Some("a"));
    assert_eq!(PanicPayload::new(Box::new(String::from("b"))).message(), Some("b"));
    assert_eq!(PanicPayload::new(Box::new(3)).message(), None);
}
