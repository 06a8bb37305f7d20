//! Devices, and what they guess.

use freshk::domain::{Device, DeviceId, UserId};

use crate::maintenance::horizon;
use crate::support::{Bed, Fixture, START, after};

fn device(chance: u8, user: UserId) -> Device {
    Device::new(DeviceId::new(START, [chance; 10]), user, after(u64::from(chance)))
}

pub(crate) async fn devices_are_read_as_they_were_written_the_first_issued_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let devices = [device(3, user), device(1, user), device(2, other)];
    let written = devices.clone();
    bed.write(move |tx| written.iter().try_for_each(|device| tx.keep_device(device))).await;
    let found = bed.read(move |view| view.devices_of(user)).await;
    assert_eq!(found, [devices[1].clone(), devices[0].clone()]);
    let renewed = devices[1].clone().renewed(after(100));
    let again = renewed.clone();
    bed.write(move |tx| tx.keep_device(&again)).await;
    assert_eq!(bed.read(move |view| view.devices_of(user)).await, [devices[0].clone(), renewed.clone()]);
    bed.write(move |tx| tx.delete_device(&renewed.id)).await;
    let [gone, stays] = [devices[1].id.clone(), devices[2].id.clone()];
    let read = bed.read(move |view| Ok((view.device(&gone)?, view.device(&stays)?))).await;
    assert_eq!(read, (None, Some(devices[2].clone())));
}

pub(crate) async fn devices_go_with_their_user_and_are_purged_when_they_have_expired<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let short = device(2, other).bounded(after(5));
    bed.write(move |tx| {
        tx.keep_device(&device(1, user))?;
        tx.keep_device(&short)?;
        tx.delete_user(user)
    })
    .await;
    assert_eq!(bed.read(move |view| view.devices_of(user)).await, []);
    for (at, left) in [(after(5), 1), (after(6), 0)] {
        let horizon = horizon(at);
        bed.write(move |tx| tx.purge(&horizon, 10)).await;
        assert_eq!(bed.read(move |view| view.devices_of(other)).await.len(), left);
    }
}

pub(crate) async fn guesses_are_counted_for_each_device_and_challenge<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (one, other) = (bed.challenge(1).await.id, bed.challenge(1).await.id);
    let [id, another] = [1, 2].map(|chance| DeviceId::new(START, [chance; 10]));
    let (guesser, reader) = (id.clone(), id);
    let counted = bed.write(move |tx| {
        let first = tx.count_device_guess(one, &guesser)?;
        Ok([first, tx.count_device_guess(one, &guesser)?, tx.count_device_guess(other, &guesser)?])
    });
    assert_eq!(counted.await, [1, 2, 1]);
    let read =
        bed.read(move |view| Ok([view.device_guesses(one, &reader)?, view.device_guesses(one, &another)?]));
    assert_eq!(read.await, [2, 0]);
    assert_eq!(bed.challenge(1).await.attempts, 0, "not counted at the code itself");
}
