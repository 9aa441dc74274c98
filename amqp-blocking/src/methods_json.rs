// The same list as `methods.rs`, of what there is by the feature `json`.

handles! {
    /// Durable queues of tasks, by name. A task is an object in JSON; what is taken out is leased until it is settled.
    ///
    /// The first task that is submitted to a name declares a durable direct exchange, a durable queue and a binding, all of
    /// that name; messages are persistent and of content type `application/json`, so any other client can take part. A name
    /// begins with a lowercase letter, goes on with lowercase letters, digits and single underscores, ends with a letter or
    /// digit, and has 2 to 255 bytes; others are [`ErrorKind::TaskQueueName`](crate::ErrorKind::TaskQueueName), before
    /// anything is sent.
    ///
    /// It has a connection of its own, and makes a new one when that is lost: by the next call. Clones share it.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::{Task, Work};
    ///
    /// let tasks = amqp_blocking::task_queue("amqp://localhost")?;
    /// tasks.submit("mail", &serde_json::json!({ "to": "alice" }))?;
    /// assert_eq!(tasks.poll("mail")?, 1);
    ///
    /// // One by one,
    /// if let Some(task) = tasks.get("mail")? {
    ///     println!("{:?}", task.payload()?);
    ///     task.done()?;
    /// }
    /// // or by a worker.
    /// let count = tasks.work("mail", Work::default().stop_when_empty(), |task: Task| {
    ///     println!("{:?}", task.payload());
    /// })?;
    /// tasks.close()
    /// # }
    /// ```
    #[derive(Clone)]
    TaskQueue {
        /// A handle whose tasks are settled when they are taken out: faster, and a task is lost if whoever has it fails.
        #[must_use]
        [wrap] fn no_ack(self) -> TaskQueue;
        /// Puts a task into a queue, and waits until the broker has taken responsibility for it. The payload is what is an
        /// object in JSON: a map, a struct; nothing, as `()` or `None`, is an empty one. What is no object is
        /// [`ErrorKind::TaskPayload`](crate::ErrorKind::TaskPayload).
        [wait] fn submit(
            &self,
            queue: impl AsRef<str>,
            payload: &(impl Serialize + ?Sized)
        ) -> Result<(), Error>;
        /// Takes the next task out of a queue; `None` if there is none, or no such queue.
        [wait] fn get(&self, queue: impl AsRef<str>) -> Result<Option<Task>, Error>;
        /// How many tasks there are in a queue to be taken out: leased ones do not count. 0 if there is no such queue, and
        /// there is none afterwards.
        [wait] fn poll(&self, queue: impl AsRef<str>) -> Result<u32, Error>;
        /// Closes its connection, for all its handles. Tasks that are leased go back, and workers end.
        [wait] fn close(&self) -> Result<(), Error>;
    }
}
