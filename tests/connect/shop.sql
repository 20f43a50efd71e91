-- What the suite captures: tables of many types, keys of one and of two columns, rows for the snapshot.
-- What Debezium may: log in, replicate, read.
create role debezium login replication password 'debezium';

create table customers (
    id bigint primary key,
    name text not null,
    email varchar(200),
    balance numeric(18, 4),
    active boolean not null,
    born date,
    seen timestamptz,
    profile jsonb,
    photo bytea,
    tags text[],
    score double precision
);

create table orders (
    customer bigint,
    number integer,
    state text not null,
    note text,
    placed timestamp,
    primary key (customer, number)
);
-- Notes are long enough to be stored beside the row: an update that leaves one alone carries it only so.
alter table orders replica identity full;

create table ledger (
    id bigserial primary key,
    account integer not null,
    amount bigint not null,
    reason text not null
);

insert into customers
select n, 'customer ' || n, 'c' || n || '@example.org', n * 1.2345, n % 3 = 0, date '1970-01-01' + n::int,
       timestamptz '2020-01-01 00:00:00+00' + n * interval '1.000001 second',
       jsonb_build_object('n', n), decode(md5(n::text), 'hex'), array['a', 'b' || n], n / 7.0
from generate_series(1, :rows) as n;
insert into orders
select n % 100, n, 'new', repeat(md5(n::text), 8 + n % 3 * 200), timestamp '2021-02-03 04:05:06' + n * interval '1 ms'
from generate_series(1, :rows) as n;
insert into ledger (account, amount, reason)
select n % 10, n, 'opening' from generate_series(1, :rows) as n;

create publication shop for table customers, orders, ledger;
grant select on customers, orders, ledger to debezium;

-- What the sink keeps: each record that it was given, what it made of them, and how far it is.
-- No key on events: a record that is written twice must show.
create schema sink;
create table sink.events (partition integer, "offset" bigint, id bigint);
create table sink.ledger (id bigint primary key, account integer, amount bigint, reason text);
create table sink.balances (account integer primary key, amount bigint not null);
create table sink.positions (partition integer primary key, next bigint not null);
