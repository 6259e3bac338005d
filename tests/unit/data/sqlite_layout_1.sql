PRAGMA application_id = 1886216824;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE bodies (
        number INTEGER PRIMARY KEY,
        sender BLOB NOT NULL,
        payload BLOB NOT NULL,
        created_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    );
INSERT INTO "bodies" VALUES(1,X'616C696365',X'30',1795558716210);
INSERT INTO "bodies" VALUES(2,X'616C696365',X'31',1795558716210);
INSERT INTO "bodies" VALUES(3,X'616C696365',X'32',1795558716210);
INSERT INTO "bodies" VALUES(4,X'616C696365',X'33',1795558716210);
INSERT INTO "bodies" VALUES(5,X'626F62',X'34',1795558716219);
INSERT INTO "bodies" VALUES(6,X'626F62',X'35',1795558716221);
INSERT INTO "bodies" VALUES(7,X'6361726F6C',X'36',1795558716223);
INSERT INTO "bodies" VALUES(8,X'6361726F6C',X'37',1795558716223);
INSERT INTO "bodies" VALUES(9,X'',X'38',1795558716229);
INSERT INTO "bodies" VALUES(10,X'',X'39',1795558716229);
CREATE TABLE holders (
        mailbox INTEGER NOT NULL,
        holder INTEGER NOT NULL,
        state INTEGER NOT NULL, -- 0: it has its messages; 1: it gave them back; 2: it died with them
        max_deliveries INTEGER,
        lease INTEGER, -- milliseconds; NULL if a lock on a file tells whether it lives
        beats INTEGER NOT NULL, -- with a lease: a number that changes while it lives and has something
        together_normal INTEGER NOT NULL, -- what it was handed in batches of several
        together_high INTEGER NOT NULL,
        alone_normal INTEGER NOT NULL, -- what it was handed in batches of one
        alone_high INTEGER NOT NULL,
        PRIMARY KEY (mailbox, holder)
    ) WITHOUT ROWID
    ;
INSERT INTO "holders" VALUES(1,826008939103345443,0,3,NULL,0,2,0,1,0);
INSERT INTO "holders" VALUES(1,1062839459397559226,1,3,NULL,0,0,2,0,0);
CREATE TABLE last_number (number INTEGER NOT NULL);
INSERT INTO "last_number" VALUES(260);
CREATE TABLE letters (
        letter INTEGER PRIMARY KEY, -- the newest has the largest
        mailbox INTEGER NOT NULL,
        number INTEGER NOT NULL UNIQUE, -- the message's
        reason TEXT NOT NULL,
        died_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    );
INSERT INTO "letters" VALUES(1,1,8,'unwanted',1795558716228);
CREATE TABLE mailboxes (
        mailbox INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        id_base BLOB NOT NULL, -- 16 bytes; with a priority and a number it makes a message's id
        queued_normal INTEGER NOT NULL DEFAULT 0, -- these two count delayed messages too, and what holders gave back
        queued_high INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        last_stored INTEGER NOT NULL DEFAULT 0, -- the number of the message that was stored last
        next_due INTEGER, -- no delayed message is due before; milliseconds since 1970, UTC
        foreseen INTEGER NOT NULL DEFAULT 0 -- whether a sender ever gave an id that this mailbox may yet make
    );
INSERT INTO "mailboxes" VALUES(1,'example',X'329FD4FA3DBC8D8C9380000000000000',4,2,1,10,3372358716221,0);
CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL,
        hand INTEGER NOT NULL, -- -1 dead, 0 queued, 1 delayed; else twice the holder's number, and one more if alone
        priority INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, -- how many of the deliveries failed
        suspect INTEGER NOT NULL DEFAULT 0, -- 1: a holder died with it, so it is handed out alone
        own_id BLOB, -- 16 bytes, of a message that came with an id; the others' is made from their number
        due INTEGER, -- of a delayed one: milliseconds since 1970, UTC
        error TEXT -- what the last nack said
    );
INSERT INTO "messages" VALUES(1,1,1652017878206690886,0,1,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(2,1,1652017878206690886,0,1,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(3,1,1652017878206690887,0,1,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(4,1,0,0,1,1,0,NULL,NULL,'try again');
INSERT INTO "messages" VALUES(5,1,2125678918795118452,1,1,0,0,X'00000000000000000000000000000004',NULL,NULL);
INSERT INTO "messages" VALUES(6,1,1,0,0,0,0,NULL,3372358716221,NULL);
INSERT INTO "messages" VALUES(7,1,2125678918795118452,1,1,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(8,1,-1,1,1,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(9,1,0,0,0,0,0,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(10,1,0,0,0,0,0,NULL,NULL,NULL);
CREATE INDEX messages_in_order ON messages (mailbox, hand, priority DESC);
CREATE UNIQUE INDEX messages_by_own_id ON messages (mailbox, own_id) WHERE own_id IS NOT NULL;
CREATE INDEX messages_by_due ON messages (mailbox, due) WHERE due IS NOT NULL;
CREATE INDEX messages_failed ON messages (mailbox, hand, failures) WHERE failures > 0;
CREATE TRIGGER body_of_deleted_message AFTER DELETE ON messages
    BEGIN DELETE FROM bodies WHERE number = OLD.number; END;
CREATE INDEX letters_by_mailbox ON letters (mailbox);
COMMIT;
