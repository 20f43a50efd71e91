"""Changes the tables and lengthens the file that the suite captures, until SIGTERM. Arguments: data source
name, file, seed. The only writer, but for columns `note_*` that somebody adds to customers meanwhile."""

import random
import signal
import sys
import threading

import psycopg
from psycopg.types.json import Jsonb

PAUSE_S = 0.005
# Transactions between two looks at the columns of customers.
LOOK_EVERY = 20
WORDS = ["plain", "naïve", "данные", "データ", "🦀", 'quo"te', "back\\slash", "tab\there", ""]
EVER = "2000-01-01 00:00:00"


class Load:
    def __init__(self, connection, lines, draw):
        self.connection = connection
        self.lines = lines
        self.draw = draw
        self.cursor = connection.cursor()
        self.customers = [row[0] for row in self.cursor.execute("select id from customers order by id")]
        self.orders = list(self.cursor.execute("select customer, number from orders order by 1, 2"))
        self.next_customer = max(self.customers) + 1
        self.next_order = max(number for _, number in self.orders) + 1
        self.notes = []
        self.transactions = self.rolled_back = self.line = 0

    def step(self):
        """One transaction on the tables, and some lines of the file."""
        if self.transactions % LOOK_EVERY == 0:
            self.cursor.execute(
                "select column_name from information_schema.columns "
                "where table_name = 'customers' and column_name like 'note_%'"
            )
            self.notes = [row[0] for row in self.cursor]
        if self.draw.random() < 0.03:
            self.undone()
        else:
            for _ in range(self.draw.randint(1, 3)):
                self.change()
            self.ledger()
        self.connection.commit()
        self.transactions += 1
        for _ in range(self.draw.randint(1, 5)):
            self.lines.write(f"{self.line:09} {self.plain()}\n")
            self.line += 1
        self.lines.flush()

    def undone(self):
        """What is rolled back must never be seen."""
        self.cursor.execute("insert into ledger (account, amount, reason) values (0, 1, 'undone')")
        self.cursor.execute("update customers set name = 'undone' where id = %s", [self.draw.choice(self.customers)])
        self.connection.rollback()
        self.rolled_back += 1

    def ledger(self):
        for _ in range(self.draw.randint(1, 4)):
            row = [self.draw.randint(0, 9), self.draw.randint(-1000, 1000), self.text()]
            self.cursor.execute("insert into ledger (account, amount, reason) values (%s, %s, %s)", row)

    def change(self):
        kinds = {
            self.insert_customer: 25,
            self.update_customer: 35,
            self.delete_customer: 10,
            self.rename_customer: 5,
            self.insert_order: 15,
            self.update_order: 15,
            self.delete_order: 5,
        }
        self.draw.choices(list(kinds), list(kinds.values()))[0]()

    def insert_customer(self):
        values = [self.next_customer, self.text(), self.maybe(self.text()), True, *self.details()]
        self.cursor.execute(
            "insert into customers (id, name, email, active, balance, born, seen, profile, photo, tags, score) "
            "values (%s, %s, %s, %s, %s, %s::date, %s::timestamptz, %s, %s, %s, %s)",
            values,
        )
        self.customers.append(self.next_customer)
        self.next_customer += 1

    def update_customer(self):
        customer = self.draw.choice(self.customers)
        self.cursor.execute(
            "update customers set name = %s, active = not active, balance = %s, born = %s::date, "
            "seen = %s::timestamptz, profile = %s, photo = %s, tags = %s, score = %s where id = %s",
            [self.text(), *self.details(), customer],
        )
        if self.notes:
            # The names come from the suite itself.
            note = self.draw.choice(self.notes)
            self.cursor.execute(f"update customers set {note} = %s where id = %s", [self.text(), customer])

    def delete_customer(self):
        if len(self.customers) > 10:
            customer = self.customers.pop(self.draw.randrange(len(self.customers)))
            self.cursor.execute("delete from customers where id = %s", [customer])

    def rename_customer(self):
        """Another key: to whoever reads the topic the end of one row and the beginning of another."""
        nth = self.draw.randrange(len(self.customers))
        values = [self.next_customer, self.customers[nth]]
        self.cursor.execute("update customers set id = %s where id = %s", values)
        self.customers[nth] = self.next_customer
        self.next_customer += 1

    def insert_order(self):
        order = (self.draw.choice(self.customers), self.next_order)
        note = self.draw.randbytes(self.draw.choice([0, 10, 6000])).hex()
        self.cursor.execute(
            f"insert into orders values (%s, %s, 'new', %s, timestamp '{EVER}' + %s * interval '1 ms')",
            [*order, note, self.draw.randint(0, 10**9)],
        )
        self.orders.append(order)
        self.next_order += 1

    def update_order(self):
        values = [self.draw.choice(["paid", "sent", "back"]), *self.draw.choice(self.orders)]
        self.cursor.execute("update orders set state = %s where customer = %s and number = %s", values)

    def delete_order(self):
        if len(self.orders) > 10:
            order = self.orders.pop(self.draw.randrange(len(self.orders)))
            self.cursor.execute("delete from orders where customer = %s and number = %s", order)

    def details(self):
        draw = self.draw
        return [
            self.maybe(draw.randint(-(10**15), 10**15) / 10000),
            self.maybe(f"{draw.randint(1900, 2099)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"),
            self.maybe(f"2001-02-03 04:05:06.{draw.randint(0, 999999):06}+02"),
            self.maybe(Jsonb({"words": [self.text(), None, draw.randint(0, 9)]})),
            self.maybe(draw.randbytes(draw.randint(0, 40))),
            self.maybe([self.text(), self.text()]),
            self.maybe(draw.random() * 10 ** draw.randint(-20, 20)),
        ]

    def maybe(self, value):
        return None if self.draw.random() < 0.1 else value

    def plain(self):
        """ASCII alone: Kafka's FileStreamSource counts characters and, when it starts again, skips bytes."""
        return self.draw.randbytes(self.draw.randint(0, 40)).hex()

    def text(self):
        return " ".join(self.draw.choice(WORDS) for _ in range(self.draw.randint(1, 6)))


def main():
    source, path, seed = sys.argv[1:]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with psycopg.connect(source) as connection, open(path, "a", encoding="utf-8") as lines:
        load = Load(connection, lines, random.Random(int(seed)))
        while not over.wait(PAUSE_S):
            load.step()
    print(
        f"load: {load.transactions} transactions ({load.rolled_back} rolled back), {load.line} lines, seed {seed}",
        flush=True,
    )


main()
