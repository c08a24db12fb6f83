-- A database as Crush v0.90 leaves it: schema, version rows and stored conversations (agent contract 4).
-- Written by hand from the contract, so that it owes nothing to our own schema.
PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES
 (1, 0, 1, '2026-08-19 10:00:00'),
 (2, 20250424200609, 1, '2026-08-19 10:00:00'),
 (3, 20250515105448, 1, '2026-08-19 10:00:00'),
 (4, 20250624000000, 1, '2026-08-19 10:00:00'),
 (5, 20250627000000, 1, '2026-08-19 10:00:00'),
 (6, 20250810000000, 1, '2026-08-19 10:00:00'),
 (7, 20250812000000, 1, '2026-08-19 10:00:00'),
 (8, 20260127000000, 1, '2026-08-19 10:00:00');
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    parent_session_id TEXT,
    title TEXT NOT NULL,
    message_count INTEGER NOT NULL DEFAULT 0 CHECK (message_count >= 0),
    prompt_tokens  INTEGER NOT NULL DEFAULT 0 CHECK (prompt_tokens >= 0),
    completion_tokens  INTEGER NOT NULL DEFAULT 0 CHECK (completion_tokens>= 0),
    cost REAL NOT NULL DEFAULT 0.0 CHECK (cost >= 0.0),
    updated_at INTEGER NOT NULL,  -- Unix timestamp in milliseconds
    created_at INTEGER NOT NULL   -- Unix timestamp in milliseconds
, summary_message_id TEXT, todos TEXT);
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    path TEXT NOT NULL,
    content TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    UNIQUE(path, session_id, version)
);
CREATE INDEX idx_files_session_id ON files (session_id);
CREATE INDEX idx_files_path ON files (path);
CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    parts TEXT NOT NULL default '[]',
    model TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER, provider TEXT, is_summary_message INTEGER DEFAULT 0 NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE INDEX idx_messages_session_id ON messages (session_id);
CREATE INDEX idx_sessions_created_at ON sessions (created_at);
CREATE INDEX idx_messages_created_at ON messages (created_at);
CREATE INDEX idx_files_created_at ON files (created_at);
CREATE TABLE read_files (
    session_id TEXT NOT NULL CHECK (session_id != ''),
    path TEXT NOT NULL CHECK (path != ''),
    read_at INTEGER NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    PRIMARY KEY (path, session_id)
);
CREATE INDEX idx_read_files_session_id ON read_files (session_id);
CREATE INDEX idx_read_files_path ON read_files (path);

INSERT INTO sessions VALUES
 ('0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', NULL, 'Read the configuration', 7, 12034, 310, 0.0412,
  1767000100, 1767000000, NULL,
  '[{"content":"Add test","status":"pending","active_form":"Adding test"}]'),
 ('7d1c2c52-30a4-4d44-8a31-6f6f3f0a9c02', NULL, 'Long ago', 3, 0, 0, 0, 1766000000, 1766000000,
  '5f0b6a10-0000-4000-8000-000000000013', NULL),
 ('5f0b6a10-0000-4000-8000-000000000002$$toolu_2', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01',
  'New Agent Session', 1, 5, 1, 0, 1767000050, 1767000050, NULL, NULL);
INSERT INTO messages
 (id, session_id, role, parts, model, created_at, updated_at, finished_at, provider, is_summary_message)
VALUES
 ('5f0b6a10-0000-4000-8000-000000000001', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'user',
  '[{"type":"text","data":{"text":"What is this?"}},{"type":"binary","data":{"Path":"shot.png","MIMEType":"image/png","Data":"iVBORw0="}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1767000000, 1767000000, NULL, NULL, 0),
 ('5f0b6a10-0000-4000-8000-000000000002', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'assistant',
  '[{"type":"reasoning","data":{"thinking":"Hm.","signature":"c2ln","thought_signature":"dGhvdWdodA==","tool_id":"toolu_1","responses_data":{"item_id":"rs_1","encrypted_content":"gAAA","summary":["Hm."]},"started_at":1767000000,"finished_at":1767000004}},{"type":"text","data":{"text":"Looking at the config."}},{"type":"tool_call","data":{"id":"toolu_1","name":"view","input":"{\"file_path\":\"a.py\"}","provider_executed":false,"finished":true}},{"type":"finish","data":{"reason":"tool_use","time":1767000005}}]',
  'claude-x', 1767000001, 1767000005, 1767000005, 'anthropic', 0),
 ('5f0b6a10-0000-4000-8000-000000000003', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'tool',
  '[{"type":"tool_result","data":{"tool_call_id":"toolu_1","name":"view","content":"<file>\n     1|import os\n</file>\n","data":"","mime_type":"","metadata":"{\"file_path\":\"/p/a.py\",\"content\":\"import os\"}","is_error":false}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1767000005, 1767000005, NULL, NULL, 0),
 ('5f0b6a10-0000-4000-8000-000000000004', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'assistant',
  '[{"type":"reasoning","data":{"thinking":"","signature":"","thought_signature":"","tool_id":"","responses_data":null}},{"type":"text","data":{"text":"It imports os."}},{"type":"finish","data":{"reason":"end_turn","time":1767000007}}]',
  'claude-x', 1767000006, 1767000007, 1767000007, 'anthropic', 0),
 ('5f0b6a10-0000-4000-8000-000000000005', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'user',
  '[{"type":"shell_command","data":{"command":"git status","output":"On branch main\n","exit_code":0}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1767000050, 1767000050, NULL, NULL, 0),
 ('5f0b6a10-0000-4000-8000-000000000006', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'user',
  '[{"type":"text","data":{"text":"And now?"}},{"type":"image_url","data":{"url":"https://example.org/a.png","detail":"low"}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1767000060, 1767000060, NULL, NULL, 0),
 ('5f0b6a10-0000-4000-8000-000000000007', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'assistant',
  '[{"type":"text","data":{"text":"No."}},{"type":"finish","data":{"reason":"error","time":1767000070,"message":"Unauthorized","details":"bad key"}}]',
  'claude-x', 1767000061, 1767000070, 1767000070, 'anthropic', 0),
 ('5f0b6a10-0000-4000-8000-000000000011', '7d1c2c52-30a4-4d44-8a31-6f6f3f0a9c02', 'user',
  '[{"type":"text","data":{"text":"An old question"}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1766000000, 1766000000, NULL, NULL, 0),
 ('5f0b6a10-0000-4000-8000-000000000012', '7d1c2c52-30a4-4d44-8a31-6f6f3f0a9c02', 'assistant',
  '[]',
  'claude-x', 1766000001, 1766000001, NULL, 'anthropic', 0),
 ('5f0b6a10-0000-4000-8000-000000000013', '7d1c2c52-30a4-4d44-8a31-6f6f3f0a9c02', 'assistant',
  '[{"type":"text","data":{"text":"What was said so far."}},{"type":"finish","data":{"reason":"end_turn","time":1766000009}}]',
  'claude-x', 1766000002, 1766000009, 1766000009, 'anthropic', 1),
 ('5f0b6a10-0000-4000-8000-000000000021', '5f0b6a10-0000-4000-8000-000000000002$$toolu_2', 'user',
  '[{"type":"text","data":{"text":"Search for it"}},{"type":"finish","data":{"reason":"stop","time":0}}]',
  '', 1767000050, 1767000050, NULL, NULL, 0);
INSERT INTO files VALUES
 ('9a0b6a10-0000-4000-8000-000000000001', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', '/p/a.py', 'import os', 0,
  1767000004, 1767000004),
 ('9a0b6a10-0000-4000-8000-000000000002', '0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', '/p/a.py', 'import sys', 1,
  1767000005, 1767000005);
INSERT INTO read_files VALUES ('0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01', 'a.py', 1767000004);
-- Last, so that they do not set today's time above.
CREATE TRIGGER update_sessions_updated_at
AFTER UPDATE ON sessions
BEGIN
UPDATE sessions SET updated_at = strftime('%s', 'now')
WHERE id = new.id;
END;
CREATE TRIGGER update_files_updated_at
AFTER UPDATE ON files
BEGIN
UPDATE files SET updated_at = strftime('%s', 'now')
WHERE id = new.id;
END;
CREATE TRIGGER update_messages_updated_at
AFTER UPDATE ON messages
BEGIN
UPDATE messages SET updated_at = strftime('%s', 'now')
WHERE id = new.id;
END;
CREATE TRIGGER update_session_message_count_on_insert
AFTER INSERT ON messages
BEGIN
UPDATE sessions SET message_count = message_count + 1
WHERE id = new.session_id;
END;
CREATE TRIGGER update_session_message_count_on_delete
AFTER DELETE ON messages
BEGIN
UPDATE sessions SET message_count = message_count - 1
WHERE id = old.session_id;
END;
COMMIT;
