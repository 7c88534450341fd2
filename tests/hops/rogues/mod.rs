mod publisher;
mod reader;
mod rogue;
mod setup;
