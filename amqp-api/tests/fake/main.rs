//! The handles and the driver in a world without a network: virtual time (`world`, over an `executor`), byte streams that
//! answer as badly as they may (`wire`), and a scripted broker at their other end (`peer`). A seed decides everything.
//! `walk` drops every future of the API wherever it waits.

#[cfg(test)]
mod credentials;
#[cfg(test)]
mod dial;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod events;
#[cfg(test)]
#[path = "../../src/fuzzing/executor.rs"]
mod executor;
#[cfg(test)]
mod handles;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod streamed;
#[cfg(all(test, feature = "json"))]
mod tasks;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tls_server;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
