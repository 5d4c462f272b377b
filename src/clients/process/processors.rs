//! The processors that tests get: all but one, so that what serves finds one free. A smaller share does not do that: who
//! wakes up waits until the one that runs has used up its slice, whatever the share. Asks the kernel.

use rustix::thread::CpuSet;
use rustix::thread::sched_getaffinity;
use rustix::thread::sched_setaffinity;

/// All that this process may run on but the first, which is the one that on most boards serves the devices too, such as
/// `1,2,3`; `None` if it has only one, or the kernel does not say.
pub fn all_but_one() -> Option<String> {
    let numbers: Vec<String> = numbers(&left()?).map(|number| number.to_string()).collect();
    Some(numbers.join(","))
}

/// Keeps this thread, and what it starts from now on, to these. Where the kernel refuses, it stays as it was.
pub fn keep_to_all_but_one() {
    if let Some(left) = left() {
        sched_setaffinity(None, &left).ok();
    }
}

fn left() -> Option<CpuSet> {
    let mut set = sched_getaffinity(None).ok()?;
    let first = numbers(&set).next()?;
    set.unset(first);
    (set.count() > 0).then_some(set)
}

fn numbers(set: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn one_processor_is_left_out_and_the_only_one_is_not() {
        // Of a thread of its own, which ends with what it has set.
        let looked = std::thread::spawn(|| {
            let all = sched_getaffinity(None).unwrap().count();
            let left = all_but_one().map_or(0, |list| list.split(',').count());
            for _ in 0..all {
                keep_to_all_but_one();
            }
            (all as usize, left, all_but_one(), sched_getaffinity(None).unwrap().count())
        });
        let (all, left, of_one, last) = looked.join().unwrap();
        assert_eq!((left, of_one, last), (all - 1, None, 1));
    }
}
