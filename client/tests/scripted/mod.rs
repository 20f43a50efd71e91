//! A small cluster that does as the test says: one topic whose partitions change leaders, lose what was
//! written and are better read elsewhere, on brokers that keep fetch sessions as KIP-227 says.
//!
//! What always holds: a broker answers as Kafka does for the state it is in; all that was asked stands
//! in [`State::asked`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_host::{Connection, Host, Pool};
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use millrace_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use millrace_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use millrace_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use millrace_protocol::messages::{
    ApiVersionsResponse, FetchResponse, ListOffsetsResponse, Message, MetadataResponse,
    OffsetForLeaderEpochResponse, encode,
};
use millrace_protocol::records::{BatchBuilder, Options};
use millrace_protocol::requests::{
    self, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use crate::wire::{framed, next_request};

/// The topic.
pub(crate) const TOPIC: &str = "t";
const ID: TopicId = TopicId::from_bytes([7; 16]);

/// One partition. An offset is a place in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    /// The epoch and the value of each record.
    pub(crate) log: Vec<(i32, u64)>,
    /// The broker that the leader prefers for readers in a rack.
    pub(crate) preferred: Option<i32>,
    /// How much of the log another broker than the leader has.
    pub(crate) followers: BTreeMap<i32, usize>,
}

/// A request, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Of this broker, in this session and epoch of it: the partitions named with their offsets, and
    /// those forgotten.
    Fetch(i32, (i32, i32), Vec<(i32, i64)>, Vec<i32>),
    /// Of this broker: where this epoch ends, as of that leader epoch.
    End(i32, i32, i32),
    /// Of this broker: an offset.
    Offset(i32),
}

/// From where each partition is read, and as of which leader epoch.
type Wanted = BTreeMap<i32, (i64, i32)>;

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) parts: Vec<Part>,
    pub(crate) asked: Vec<Asked>,
    /// Codes that the next fetches are answered with as a whole.
    pub(crate) fetch_errors: VecDeque<ErrorCode>,
    /// Codes that the next fetches of a partition from a broker are answered with.
    pub(crate) part_errors: VecDeque<(i32, ErrorCode)>,
    /// The highest version of `OffsetForLeaderEpoch`; without it, it isn't served.
    pub(crate) epochs_version: Option<i16>,
    /// Each session of each broker: its epoch, and from where each partition is read.
    pub(crate) sessions: BTreeMap<(i32, i32), (i32, Wanted)>,
    next_session: i32,
    brokers: i32,
}

/// The cluster as the test and the brokers share it.
pub(crate) type Shared = Arc<Mutex<State>>;

/// Starts the brokers 0, 1, … on the machine, at [`port`]s of their own.
pub(crate) async fn start(host: &Host, brokers: i32, parts: Vec<Part>) -> Shared {
    let state = State {
        parts,
        epochs_version: Some(4),
        brokers,
        ..State::default()
    };
    let shared = Arc::new(Mutex::new(state));
    for id in 0..brokers {
        let address = ([127, 0, 0, 1], port(id)).into();
        let mut listener = host.net.listen(address, 8).await.unwrap();
        let (shared, host_of) = (Arc::clone(&shared), host.clone());
        let accepting = async move {
            while let Ok(connection) = listener.accept().await {
                let serving = serve(connection, id, Arc::clone(&shared), host_of.clone());
                let spawn = &host_of.spawn;
                drop(spawn.spawn(Pool::Data, "scripted connection", Box::pin(serving)));
            }
        };
        drop(
            host.spawn
                .spawn(Pool::Data, "scripted broker", Box::pin(accepting)),
        );
    }
    shared
}

/// Where a broker listens.
pub(crate) fn port(id: i32) -> u16 {
    19_092 + u16::try_from(id).unwrap()
}

async fn serve(mut connection: Connection, id: i32, shared: Shared, host: Host) {
    let mut buf = BytesMut::new();
    while let Some((header, body)) = next_request(&mut connection, &mut buf).await {
        let api = Api::from_key(header.api_key).unwrap();
        let version = header.api_version;
        let mut answer = shared.lock().unwrap().answer(id, api, version, &body);
        if let Err((wait, session_id)) = answer {
            host.clock.sleep_until(host.clock.now().mono + wait).await;
            let mut nothing = FetchResponse::default();
            nothing.session_id = session_id;
            answer = Ok(body_of(&nothing, version));
        }
        let frame = framed(&header, answer.unwrap());
        if connection.write.send(frame).await.is_err() {
            return;
        }
    }
}

/// An answer, or how long to wait before saying that there is nothing in which session.
type Answer = Result<Bytes, (Duration, i32)>;

impl State {
    fn answer(&mut self, id: i32, api: Api, version: i16, body: &[u8]) -> Answer {
        if api == Api::Fetch {
            return self.fetch(id, version, body);
        }
        Ok(if api == Api::ApiVersions {
            self.versions(version)
        } else if api == Api::Metadata {
            self.metadata(version)
        } else if api == Api::ListOffsets {
            self.offsets(id, version, body)
        } else {
            assert_eq!(api, Api::OffsetForLeaderEpoch, "nothing else is served");
            self.ends(id, version, body)
        })
    }

    fn versions(&self, version: i16) -> Bytes {
        let row = |api: Api, max: i16| {
            let mut row = ApiVersion::default();
            (row.api_key, row.min_version, row.max_version) = (api.key(), 0, max);
            row
        };
        let mut answer = ApiVersionsResponse::default();
        answer.api_keys = vec![
            row(Api::ApiVersions, 4),
            row(Api::Metadata, 12),
            row(Api::ListOffsets, 9),
            row(Api::Fetch, 17),
        ];
        let epochs = self.epochs_version;
        answer
            .api_keys
            .extend(epochs.map(|max| row(Api::OffsetForLeaderEpoch, max)));
        body_of(&answer, version)
    }

    fn metadata(&self, version: i16) -> Bytes {
        let broker = |id: i32| {
            let mut broker = MetadataResponseBroker::default();
            broker.node_id = id;
            broker.host = "127.0.0.1".into();
            broker.port = i32::from(port(id));
            broker
        };
        let part = |(index, of): (usize, &Part)| {
            let mut part = MetadataResponsePartition::default();
            part.partition_index = i32::try_from(index).unwrap();
            part.leader_id = of.leader;
            part.leader_epoch = of.epoch;
            part.replica_nodes = (0..self.brokers).collect();
            part.isr_nodes = (0..self.brokers).collect();
            part
        };
        let mut topic = MetadataResponseTopic::default();
        topic.name = Some(TOPIC.into());
        topic.topic_id = ID.into();
        topic.partitions = self.parts.iter().enumerate().map(part).collect();
        let mut answer = MetadataResponse::default();
        answer.brokers = (0..self.brokers).map(broker).collect();
        answer.topics = vec![topic];
        body_of(&answer, version)
    }

    fn offsets(&mut self, id: i32, version: i16, request: &[u8]) -> Bytes {
        let request: ListOffsetsRequest<'_> = requests::read(version, request).unwrap();
        self.asked.push(Asked::Offset(id));
        let mut topic = ListOffsetsTopicResponse::default();
        topic.name = TOPIC.into();
        for asked in request
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let of = &self.parts[usize::try_from(asked.partition_index).unwrap()];
            let mut row = ListOffsetsPartitionResponse::default();
            row.partition_index = asked.partition_index;
            row.error_code = of.refuses(id, asked.current_leader_epoch).code();
            row.offset = match asked.timestamp {
                -2 => 0,
                _ => of.log.len().try_into().unwrap(),
            };
            row.leader_epoch = of.epoch;
            topic.partitions.push(row);
        }
        let mut answer = ListOffsetsResponse::default();
        answer.topics = vec![topic];
        body_of(&answer, version)
    }

    fn ends(&mut self, id: i32, version: i16, request: &[u8]) -> Bytes {
        let request: OffsetForLeaderEpochRequest<'_> = requests::read(version, request).unwrap();
        if version >= 3 {
            assert_eq!(request.replica_id, -1, "a consumer asks");
        }
        let mut topic = OffsetForLeaderTopicResult::default();
        topic.topic = TOPIC.into();
        for asked in request
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let of = &self.parts[usize::try_from(asked.partition).unwrap()];
            let told = Asked::End(id, asked.leader_epoch, asked.current_leader_epoch);
            self.asked.push(told);
            let mut row = EpochEndOffset::default();
            row.partition = asked.partition;
            row.error_code = of.refuses(id, asked.current_leader_epoch).code();
            (row.leader_epoch, row.end_offset) = of.end_of(asked.leader_epoch);
            topic.partitions.push(row);
        }
        let mut answer = OffsetForLeaderEpochResponse::default();
        answer.topics = vec![topic];
        body_of(&answer, version)
    }

    fn fetch(&mut self, id: i32, version: i16, request: &[u8]) -> Answer {
        let request: FetchRequest<'_> = requests::read(version, request).unwrap();
        let session = (request.session_id, request.session_epoch);
        let partitions = request.topics.into_iter().flat_map(|t| t.partitions);
        let named: Vec<_> = partitions
            .map(|asked| {
                let place = (asked.fetch_offset, asked.current_leader_epoch);
                (asked.partition, place)
            })
            .collect();
        let gone = request.forgotten_topics_data.into_iter();
        let gone: Vec<i32> = gone.flat_map(|topic| topic.partitions).collect();
        let offsets = named.iter().map(|(at, (offset, _))| (*at, *offset));
        let told = Asked::Fetch(id, session, offsets.collect(), gone.clone());
        self.asked.push(told);
        let mut answer = FetchResponse::default();
        if let Some(code) = self.fetch_errors.pop_front() {
            answer.error_code = code.code();
            return Ok(body_of(&answer, version));
        }
        let (session_id, wanted) = match self.session(id, session, &named, &gone) {
            Ok(session) => session,
            Err(code) => {
                answer.error_code = code.code();
                return Ok(body_of(&answer, version));
            }
        };
        answer.session_id = session_id;
        let in_rack = !request.rack_id.is_empty();
        let rows: Vec<_> = wanted
            .into_iter()
            .filter_map(|(at, place)| self.row(id, at, place, in_rack))
            .collect();
        if rows.is_empty() && session.1 > 0 {
            let wait = u64::try_from(request.max_wait_ms).unwrap();
            return Err((Duration::from_millis(wait), session_id));
        }
        let mut topic = FetchableTopicResponse::default();
        topic.topic = TOPIC.into();
        topic.topic_id = ID.into();
        topic.partitions = rows;
        answer.responses = vec![topic];
        Ok(body_of(&answer, version))
    }

    /// What is read in a session, all that is said in this request included.
    fn session(
        &mut self,
        id: i32,
        (session, epoch): (i32, i32),
        named: &[(i32, (i64, i32))],
        gone: &[i32],
    ) -> Result<(i32, Wanted), ErrorCode> {
        let named: BTreeMap<_, _> = named.iter().copied().collect();
        if epoch <= 0 {
            self.sessions.remove(&(id, session));
            if epoch < 0 {
                return Ok((0, named));
            }
            self.next_session += 1;
            let kept = (1, named.clone());
            self.sessions.insert((id, self.next_session), kept);
            return Ok((self.next_session, named));
        }
        let Some(kept) = self.sessions.get_mut(&(id, session)) else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        if kept.0 != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        kept.0 += 1;
        kept.1.extend(named);
        kept.1.retain(|at, _| !gone.contains(at));
        Ok((session, kept.1.clone()))
    }

    /// What there is of a partition, if there is anything to say.
    fn row(
        &mut self,
        id: i32,
        at: i32,
        (offset, epoch): (i64, i32),
        in_rack: bool,
    ) -> Option<PartitionData> {
        let of = &self.parts[usize::try_from(at).unwrap()];
        let mut row = PartitionData::default();
        row.partition_index = at;
        row.records = Some(Bytes::new());
        let end = match of.followers.get(&id) {
            Some(end) if id != of.leader => Some(*end),
            _ => (id == of.leader).then_some(of.log.len()),
        };
        let end = i64::try_from(end.unwrap_or(0)).unwrap();
        row.high_watermark = end;
        let refused = of.refuses_of_any(id, epoch);
        let planned = self.part_errors.front().filter(|(of, _)| *of == id);
        if let Some((_, code)) = planned.copied() {
            self.part_errors.pop_front();
            row.error_code = code.code();
        } else if refused != ErrorCode::None {
            row.error_code = refused.code();
        } else if offset < 0 || offset > end {
            row.error_code = ErrorCode::OffsetOutOfRange.code();
        } else if let Some(preferred) = of.preferred.filter(|_| id == of.leader && in_rack) {
            row.preferred_read_replica = preferred;
        } else if offset < end {
            // One record at a time.
            let (epoch, value) = of.log[usize::try_from(offset).unwrap()];
            let mut builder = BatchBuilder::new(Options {
                base_offset: offset,
                leader_epoch: epoch,
                ..Options::default()
            });
            let value = value.to_be_bytes();
            builder.push(0, None, Some(&value), &[]).unwrap();
            row.records = Some(builder.build());
        } else {
            return None;
        }
        Some(row)
    }
}

impl Part {
    /// Why a broker answers no question about it as of a leader epoch (KIP-320).
    fn refuses(&self, id: i32, epoch: i32) -> ErrorCode {
        if id == self.leader {
            self.refuses_of_any(id, epoch)
        } else {
            ErrorCode::NotLeaderOrFollower
        }
    }

    fn refuses_of_any(&self, id: i32, epoch: i32) -> ErrorCode {
        if id != self.leader && !self.followers.contains_key(&id) {
            ErrorCode::NotLeaderOrFollower
        } else if epoch >= 0 && epoch < self.epoch {
            ErrorCode::FencedLeaderEpoch
        } else if epoch > self.epoch {
            ErrorCode::UnknownLeaderEpoch
        } else {
            ErrorCode::None
        }
    }

    /// The greatest epoch up to this one, and where it ends.
    fn end_of(&self, epoch: i32) -> (i32, i64) {
        if epoch > self.epoch {
            return (-1, -1);
        }
        let upto = self.log.iter().take_while(|(of, _)| *of <= epoch).count();
        let last = self.log[..upto].last().map(|(of, _)| *of);
        let end = i64::try_from(upto).unwrap();
        last.map_or((-1, -1), |last| (last, end))
    }
}

fn body_of<M: Message>(message: &M, version: i16) -> Bytes {
    encode(message, version).unwrap()
}
