package main

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
)

const stopSeconds = 5

type registration struct {
	Executor     string   `json:"executor"`
	CallbackID   string   `json:"callback_id"`
	LeaseSeconds *float64 `json:"lease_seconds"`
	Address      string   `json:"address"`
	MaxCalls     uint32   `json:"max_calls"`

	SchemaDigests *bool `json:"schema_digests"`
}

type behaviour struct {
	Returns     any     `json:"returns"`
	Fails       *string `json:"fails"`
	Raises      any     `json:"raises"` // true, or "odd"
	Unencodable bool    `json:"unencodable"`
	Waits       bool    `json:"waits"`
	Echo        bool    `json:"echo"`
	Reconcile   string  `json:"reconcile"`

	Declared *struct {
		Description string           `json:"description"`
		Effect      runwright.Effect `json:"effect"`
		Idempotent  *bool            `json:"idempotent"`
		Parameters  json.RawMessage  `json:"parameters"`
	} `json:"declared"`
}

// options are what the tool declares.
func (b *behaviour) options() []runwright.ToolOption {
	if b.Declared == nil {
		return nil
	}
	options := []runwright.ToolOption{runwright.WithDescription(b.Declared.Description)}
	if b.Declared.Effect != "" {
		options = append(options, runwright.WithEffect(b.Declared.Effect))
	}
	if b.Declared.Idempotent != nil {
		options = append(options, runwright.WithIdempotent(*b.Declared.Idempotent))
	}
	if b.Declared.Parameters != nil {
		options = append(options, runwright.WithSchema(b.Declared.Parameters))
	}
	return options
}

type tools struct {
	server   *runwright.ToolServer
	released chan struct{}

	mutex sync.Mutex
	calls []*call
}

type call struct {
	Tool           string          `json:"tool"`
	CallID         string          `json:"call_id"`
	RunID          string          `json:"run_id"`
	Attempt        uint32          `json:"attempt"`
	IdempotencyKey string          `json:"idempotency_key"`
	Arguments      json.RawMessage `json:"arguments"`
	Cancelled      bool            `json:"cancelled"`
	Asked          bool            `json:"asked,omitempty"`
}

func (p *program) serveTools(ctx context.Context, args arguments) (any, error) {
	var options []runwright.ToolServerOption
	if args.TLS != nil {
		tls, err := args.TLS.read()
		if err != nil {
			return nil, err
		}
		options = append(options, runwright.WithServerTLS(tls))
	}
	if args.Credential != "" {
		options = append(options, runwright.WithCredential(args.Credential))
	}
	t := &tools{server: runwright.NewToolServer(options...), released: make(chan struct{})}
	for name, text := range args.Tools {
		var does behaviour
		if err := json.Unmarshal(text, &does); err != nil {
			return nil, err
		}
		runwright.Handle(t.server, name, t.perform(does), does.options()...)
		if does.Reconcile != "" {
			runwright.Reconcile(t.server, name, t.look(does))
		}
	}
	if args.Listen == "" {
		args.Listen = "127.0.0.1:0"
	}
	if err := t.server.Start(args.Listen); err != nil {
		return nil, err
	}
	if args.Register != nil {
		if err := t.register(ctx, p.connected(), args.Register); err != nil {
			t.server.Close()
			return nil, err
		}
	}
	p.mutex.Lock()
	p.tools[args.Name] = t
	p.mutex.Unlock()
	return object{"address": t.server.Address()}, nil
}

func (t *tools) register(ctx context.Context, client *runwright.Client, asked *registration) error {
	var options []runwright.RegisterOption
	if asked.CallbackID != "" {
		options = append(options, runwright.WithCallbackID(asked.CallbackID))
	}
	if asked.LeaseSeconds != nil {
		options = append(options, runwright.WithLease(seconds(asked.LeaseSeconds, 0)))
	}
	if asked.Address != "" {
		options = append(options, runwright.WithAdvertised(asked.Address))
	}
	if asked.MaxCalls != 0 {
		options = append(options, runwright.WithMaxCalls(asked.MaxCalls))
	}
	if asked.SchemaDigests != nil && !*asked.SchemaDigests {
		options = append(options, runwright.WithoutSchemaDigests())
	}
	_, err := t.server.Register(ctx, client, asked.Executor, options...)
	return err
}

// look notes what it is asked about, and says what it is told to.
func (t *tools) look(does behaviour) func(context.Context, *runwright.ToolCall, json.RawMessage) (runwright.Reconciled, error) {
	return func(_ context.Context, asked *runwright.ToolCall, given json.RawMessage) (runwright.Reconciled, error) {
		t.mutex.Lock()
		t.calls = append(t.calls, &call{
			Tool: asked.Tool, CallID: asked.CallID, RunID: asked.RunID, Attempt: asked.Attempt,
			IdempotencyKey: asked.IdempotencyKey, Arguments: given, Asked: true,
		})
		t.mutex.Unlock()
		switch does.Reconcile {
		case "performed":
			return runwright.Performed(does.Returns), nil
		case "not_performed":
			return runwright.NotPerformed("It is not in the ledger."), nil
		case "cannot_say":
			return runwright.CannotSay("The ledger is away."), nil
		case "odd":
			runtime.Goexit()
		}
		return runwright.Reconciled{}, errors.New("a secret of the tool")
	}
}

// perform notes the call and behaves as asked.
func (t *tools) perform(does behaviour) func(context.Context, *runwright.ToolCall, json.RawMessage) (any, error) {
	return func(ctx context.Context, asked *runwright.ToolCall, given json.RawMessage) (any, error) {
		noted := &call{
			Tool: asked.Tool, CallID: asked.CallID, RunID: asked.RunID, Attempt: asked.Attempt,
			IdempotencyKey: asked.IdempotencyKey, Arguments: given,
		}
		t.mutex.Lock()
		t.calls = append(t.calls, noted)
		t.mutex.Unlock()
		if does.Waits {
			select {
			case <-t.released:
			case <-ctx.Done():
				t.mutex.Lock()
				noted.Cancelled = true
				t.mutex.Unlock()
				return nil, ctx.Err()
			}
		}
		switch {
		case does.Fails != nil:
			return nil, &runwright.ToolError{Message: *does.Fails}
		case does.Raises == "odd":
			runtime.Goexit()
		case does.Raises == true:
			return nil, errors.New("a secret of the tool")
		case does.Unencodable:
			return object{"secret": make(chan int)}, nil
		case does.Echo:
			return object{"arguments": given, "context": object{
				"run_id": asked.RunID, "turn_id": asked.TurnID, "round": asked.Round, "call_id": asked.CallID,
				"attempt": asked.Attempt, "idempotency_key": asked.IdempotencyKey, "tool": asked.Tool,
				"deadline": asked.Deadline.Format(time.RFC3339Nano), "package_fingerprint": asked.PackageFingerprint,
			}}, nil
		}
		return does.Returns, nil
	}
}

func (p *program) toolsOf(name string) *tools {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	found := p.tools[name]
	if found == nil {
		panic("there are no tools " + name)
	}
	return found
}

func (p *program) calls(_ context.Context, args arguments) (any, error) {
	t := p.toolsOf(args.Name)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	noted := []call{} // copies: a call may be cancelled while they are written
	for _, one := range t.calls {
		noted = append(noted, *one)
	}
	return noted, nil
}

// release lets all calls through that wait, and all later ones.
func (p *program) release(_ context.Context, args arguments) (any, error) {
	t := p.toolsOf(args.Name)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	select {
	case <-t.released:
	default:
		close(t.released)
	}
	return object{}, nil
}

// stopTools has nothing to do for what was never served.
func (p *program) stopTools(_ context.Context, args arguments) (any, error) {
	p.mutex.Lock()
	t := p.tools[args.Name]
	delete(p.tools, args.Name)
	p.mutex.Unlock()
	if t == nil {
		return object{}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopSeconds*time.Second)
	defer cancel()
	t.server.Shutdown(ctx)
	return object{}, nil
}
