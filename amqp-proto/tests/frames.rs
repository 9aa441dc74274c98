//! Bytes to frames: every way to cut a stream, and streams that are none.

mod common;

use amqp_proto::wire::{
    Deframer, EncodeError, FRAME_END, Frame, FrameError, FrameKind, MAX_FRAME_UNLIMITED, PROTOCOL_HEADER,
    put_body_frame_header, put_frame, put_heartbeat,
};
use bytes::BytesMut;
use common::{deframe, frame_bytes, frames, parts};
use proptest::prelude::*;

fn bytes_of(frames: &[common::Parts]) -> Vec<u8> {
    frames.iter().flat_map(|(kind, channel, payload)| frame_bytes(*kind, *channel, payload)).collect()
}

proptest! {
    #[test]
    fn a_stream_of_frames_gives_these_frames(frames in frames()) {
        let stream = bytes_of(&frames);
        prop_assert_eq!(deframe(4096, [&stream[..]]), (frames, None));
    }

    #[test]
    fn every_split_point_gives_the_same_frames(frames in frames()) {
        let stream = bytes_of(&frames);
        for split in 0..=stream.len() {
            let (first, second) = stream.split_at(split);
            prop_assert_eq!(deframe(4096, [first, second]), (frames.clone(), None));
        }
    }

    #[test]
    fn byte_by_byte_gives_the_same_frames(frames in frames()) {
        let stream = bytes_of(&frames);
        prop_assert_eq!(deframe(4096, stream.chunks(1)), (frames, None));
    }

    #[test]
    fn every_cut_off_stream_needs_more_and_is_truncated_at_its_end(frames in frames()) {
        let stream = bytes_of(&frames);
        let ends: Vec<usize> = (0..=frames.len()).map(|count| bytes_of(&frames[..count]).len()).collect();
        for cut in 0..stream.len() {
            let (whole, error) = deframe(4096, [&stream[..cut]]);
            let end = ends.iter().rposition(|&end| end <= cut).unwrap();
            prop_assert_eq!(&whole[..], &frames[..end]);
            let have = cut - ends[end];
            prop_assert_eq!(error, (have > 0).then_some(FrameError::TruncatedFrame { have }));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_split_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in 0..200usize,
    ) {
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        prop_assert_eq!(deframe(4096, [&bytes[..]]), deframe(4096, [first, second]));
    }

    #[test]
    fn a_stream_that_breaks_gives_the_frames_before_and_then_the_same_error(frames in frames(), octet in any::<u8>()) {
        prop_assume!(octet != FRAME_END);
        let mut stream = bytes_of(&frames);
        let mut bad = frame_bytes(1, 1, b"method");
        *bad.last_mut().unwrap() = octet;
        stream.extend(bad);
        for chunk in [1, 3, stream.len()] {
            prop_assert_eq!(deframe(4096, stream.chunks(chunk)), (frames.clone(), Some(FrameError::BadEnd { octet })));
        }
    }

    #[test]
    fn written_frames_are_read_again(frames in frames()) {
        let mut out = Vec::new();
        for (kind, channel, payload) in &frames {
            put_frame(&mut out, FrameKind::from_octet(*kind).unwrap(), *channel, payload).unwrap();
        }
        prop_assert_eq!(&out, &bytes_of(&frames));
    }
}

#[test]
fn a_body_frame_is_written_around_a_linked_payload() {
    let mut out = Vec::new();
    put_body_frame_header(&mut out, 258, 4);
    out.extend_from_slice(b"body");
    out.push(FRAME_END);
    assert_eq!(out, frame_bytes(3, 258, b"body"));
}

#[test]
fn a_heartbeat_has_eight_bytes() {
    let mut out = Vec::new();
    put_heartbeat(&mut out);
    assert_eq!(out, b"\x08\0\0\0\0\0\0\xCE");
}

#[test]
fn a_type_octet_and_six_digits_of_text_are_refused_by_their_size() {
    let (frames, error) = deframe(131_072, [&b"\x08000000"[..]]);
    assert_eq!(frames, []);
    assert_eq!(error, Some(FrameError::TooLarge { size: 0x3030_3030 + 8, limit: 131_072 }));
}

#[test]
fn a_size_beyond_frame_max_is_refused_before_anything_is_buffered() {
    let mut buf = BytesMut::from(&[1, 0, 1, 0, 0, 0x10, 0][..]);
    let capacity = buf.capacity();
    let error = Deframer::new(4096).next_block(&mut buf).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { size: 4104, limit: 4096 });
    assert_eq!(buf.capacity(), capacity);
}

#[test]
fn the_limit_counts_the_whole_frame() {
    let fits = frame_bytes(3, 1, &[7; 4096 - 8]);
    assert_eq!(deframe(4096, [&fits[..]]).1, None);
    let one_more = frame_bytes(3, 1, &[7; 4096 - 7]);
    assert_eq!(deframe(4096, [&one_more[..]]).1, Some(FrameError::TooLarge { size: 4097, limit: 4096 }));
}

#[test]
fn a_changed_limit_holds_for_the_next_frame() {
    let mut deframer = Deframer::new(4096);
    let frame = frame_bytes(3, 1, &[7; 5000]);
    let mut buf = BytesMut::from(&frame[..]);
    assert!(deframer.next_block(&mut buf).is_err());
    deframer.set_frame_max(8192);
    assert_eq!(deframer.next_block(&mut buf).unwrap().unwrap().len(), 5008);
}

#[test]
fn p39_f3_no_limit_at_all_is_a_limit_of_our_own() {
    let size = MAX_FRAME_UNLIMITED - 8;
    let mut buf = BytesMut::from(&[&[3, 0, 1][..], &size.to_be_bytes()].concat()[..]);
    assert!(matches!(Deframer::new(0).next_block(&mut buf), Ok(None)));
    let mut buf = BytesMut::from(&[&[3, 0, 1][..], &(size + 1).to_be_bytes()].concat()[..]);
    let error = Deframer::new(0).next_block(&mut buf).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { size: u64::from(MAX_FRAME_UNLIMITED) + 1, limit: MAX_FRAME_UNLIMITED });
}

#[test]
fn p39_f3_a_length_field_makes_the_deframer_reserve_one_mebibyte_at_most() {
    for limit in [0, u32::MAX] {
        let mut buf = BytesMut::from(&[3, 0, 1, 0x07, 0, 0, 0][..]);
        assert!(matches!(Deframer::new(limit).next_block(&mut buf), Ok(None)));
        assert!(buf.capacity() <= (1 << 20) + 4096, "{} bytes are reserved", buf.capacity());
    }
}

#[test]
fn the_largest_size_there_is_does_not_overflow() {
    let mut buf = BytesMut::from(&[3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF][..]);
    let error = Deframer::new(u32::MAX).next_block(&mut buf).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { size: u64::from(u32::MAX) + 8, limit: u32::MAX });
}

#[test]
fn a_partial_frame_has_room_for_the_whole_of_it() {
    let frame = frame_bytes(3, 1, &[7; 100_000]);
    let mut buf = BytesMut::from(&frame[..10]);
    assert!(matches!(Deframer::new(131_072).next_block(&mut buf), Ok(None)));
    assert!(buf.capacity() >= frame.len());
}

#[test]
fn a_frame_without_its_end_octet_needs_more() {
    let frame = frame_bytes(1, 1, b"method");
    let (frames, error) = deframe(4096, [&frame[..frame.len() - 1]]);
    assert_eq!((frames, error), (vec![], Some(FrameError::TruncatedFrame { have: 13 })));
}

#[test]
fn another_frame_at_the_place_of_the_end_octet_is_refused() {
    let frame = frame_bytes(1, 1, b"method");
    let stream = [&frame[..frame.len() - 1], &frame].concat();
    assert_eq!(deframe(4096, [&stream[..]]), (vec![], Some(FrameError::BadEnd { octet: 1 })));
}

#[test]
fn a_wrong_end_octet_is_refused() {
    let mut frame = frame_bytes(1, 1, b"method");
    *frame.last_mut().unwrap() = 0xCD;
    assert_eq!(deframe(4096, [&frame[..]]), (vec![], Some(FrameError::BadEnd { octet: 0xCD })));
}

#[test]
fn frame_type_5_is_refused_by_its_first_byte() {
    assert_eq!(deframe(4096, [&[5][..]]), (vec![], Some(FrameError::UnknownType(5))));
}

#[test]
fn only_four_types_are_known() {
    let known: Vec<u8> = (0..=255).filter(|&octet| FrameKind::from_octet(octet).is_some()).collect();
    assert_eq!(known, [1, 2, 3, 8]);
    for octet in (0..=255).filter(|octet| !known.contains(octet)) {
        let error = deframe(4096, [&frame_bytes(octet, 0, b"")[..]]).1;
        assert_eq!(error, Some(FrameError::UnknownType(octet)));
    }
}

#[test]
fn a_protocol_header_as_the_answer_tells_the_version() {
    let (frames, error) = deframe(4096, PROTOCOL_HEADER.chunks(1));
    assert_eq!((frames, &error), (vec![], &Some(FrameError::ProtocolHeader([0, 0, 9, 1]))));
    assert!(error.unwrap().to_string().contains("AMQP version 0.9.1"));
    assert_eq!(deframe(4096, [&b"AMQP\x03\x01\x00\x00"[..]]).1, Some(FrameError::ProtocolHeader([3, 1, 0, 0])));
}

#[test]
fn a_truncated_protocol_header_needs_more_and_is_truncated_at_the_end() {
    for have in 1..8 {
        let (frames, error) = deframe(4096, [&PROTOCOL_HEADER[..have]]);
        assert_eq!((frames, error), (vec![], Some(FrameError::TruncatedProtocolHeader { have })));
    }
}

#[test]
fn other_text_that_starts_with_the_same_letter_is_an_unknown_type() {
    for text in ["AMQX", "AB", "AMQ\0", "Authorization"] {
        assert_eq!(deframe(4096, [text.as_bytes()]).1, Some(FrameError::UnknownType(b'A')), "{text}");
    }
}

#[test]
fn a_protocol_header_behind_frames_is_an_unknown_type() {
    let heartbeat = frame_bytes(8, 0, b"");
    let stream = [&heartbeat[..], &PROTOCOL_HEADER].concat();
    let expected = (vec![(8, 0, vec![])], Some(FrameError::UnknownType(b'A')));
    assert_eq!(deframe(4096, [&stream[..]]), expected);
    assert_eq!(deframe(4096, stream.chunks(1)), expected);
}

#[test]
fn a_block_is_peeked_into_by_a_clone_of_its_iterator() {
    let stream = [frame_bytes(1, 7, b"a"), frame_bytes(2, 7, b"b")].concat();
    let block = Deframer::new(4096).next_block(&mut BytesMut::from(&stream[..])).unwrap().unwrap();
    let mut frames = block.frames();
    let peeked = frames.clone().next();
    assert_eq!(peeked, Some(Frame { kind: FrameKind::Method, channel: 7, payload: b"a" }));
    assert_eq!(frames.next(), peeked);
    assert_eq!(frames.next(), Some(Frame { kind: FrameKind::Header, channel: 7, payload: b"b" }));
    assert_eq!(frames.next(), None);
    assert_eq!(parts(&block).len(), 2);
}

#[test]
fn a_part_of_a_block_is_shared_and_a_foreign_slice_is_copied() {
    let frame = frame_bytes(3, 1, b"a body");
    let block = Deframer::new(4096).next_block(&mut BytesMut::from(&frame[..])).unwrap().unwrap();
    let payload = block.frames().next().unwrap().payload;
    let shared = block.slice_ref(payload);
    assert_eq!((&shared[..], shared.as_ptr()), (&b"a body"[..], payload.as_ptr()));
    assert_eq!(&block.slice_ref(b"elsewhere")[..], b"elsewhere");
    assert!(block.slice_ref(&[]).is_empty());
}

#[test]
fn the_words_of_an_encode_error_name_the_field_and_its_size() {
    let error = EncodeError::ShortStringTooLong { field: "queue", len: 256 };
    assert_eq!(error.to_string(), "the queue has 256 bytes, at most 255 are possible");
}
