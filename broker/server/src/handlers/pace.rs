//! How long an effect may keep its worker: a request can have hundreds of thousands of elements,
//! and requests of other connections are served in between.

/// Elements that are worked on before others run: some milliseconds at most.
const AT_ONCE: usize = 1000;

/// Counts the elements that one effect works on. Costs an addition where there are few.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    done: usize,
}

impl Pace {
    /// Counts one more element, and lets other tasks of the worker run if it is time.
    pub(crate) async fn step(&mut self) {
        self.steps(1).await;
    }

    /// Counts `count` more elements, and lets other tasks of the worker run if it is time.
    pub(crate) async fn steps(&mut self, count: usize) {
        self.done = self.done.saturating_add(count);
        if self.done >= AT_ONCE {
            self.done = 0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn others_run_after_every_thousand_elements_and_not_before() {
        let polls = |elements: usize| {
            let mut work = std::pin::pin!(async move {
                let mut pace = Pace::default();
                for _ in 0..elements {
                    pace.step().await;
                }
            });
            let mut cx = Context::from_waker(Waker::noop());
            let mut polls = 1;
            while work.as_mut().poll(&mut cx) == Poll::Pending {
                polls += 1;
            }
            polls
        };
        assert_eq!(polls(0), 1);
        assert_eq!(polls(AT_ONCE - 1), 1);
        assert_eq!(polls(AT_ONCE), 2);
        assert_eq!(polls(10 * AT_ONCE), 11);
    }
}
