package runwright

import (
	"errors"
	"fmt"
	"regexp"
)

var (
	toolName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)
	idName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$`)
)

// mistakes are what the author of tools got wrong, each in one sentence that names what was written.
type mistakes []error

func (m *mistakes) add(format string, values ...any) {
	*m = append(*m, fmt.Errorf("runwright: "+format, values...))
}

func (m mistakes) err() error { return errors.Join(m...) }

// checkHandler notes what cannot be a tool of this server.
func (s *ToolServer) checkHandler(tool string, hasHandler bool) {
	if !toolName.MatchString(tool) {
		s.mistakes.add("%q cannot be the name of a tool, which has 1 to 64 letters, digits, _ and -, the first a letter or _", tool)
	}
	if !hasHandler {
		s.mistakes.add("the handler of tool %s is nil", tool)
	}
	if _, known := s.handlers[tool]; known {
		s.mistakes.add("two tools are named %s", tool)
	}
	if s.server != nil {
		s.mistakes.add("tool %s comes after Start: nobody would call it", tool)
	}
}

// checkReconciler notes what cannot be asked about calls of this server.
func (s *ToolServer) checkReconciler(tool string, hasFunction bool) {
	if !hasFunction {
		s.mistakes.add("what says what became of calls of tool %s is nil", tool)
	}
	if _, known := s.handlers[tool]; !known {
		s.mistakes.add("tool %s is not handled here: Handle comes before Reconcile", tool)
	}
	if _, known := s.reconcilers[tool]; known {
		s.mistakes.add("two functions say what became of calls of tool %s", tool)
	}
	if s.server != nil {
		s.mistakes.add("Reconcile of tool %s comes after Start: nobody would ask it", tool)
	}
}

// checkRegistration says what the runtime would refuse, in the author's words.
func (s *ToolServer) checkRegistration(executor, callbackID string) error {
	const rule = "which has 1 to 128 letters, digits and . _ : @ -, the first a letter or digit"
	switch {
	case s.server == nil:
		return errors.New("runwright: start the tool server before it is registered")
	case s.mistakes.err() != nil:
		return s.mistakes.err()
	case len(s.handlers) == 0 && s.decide == nil && s.dispatcher == nil:
		return errors.New("runwright: there is no tool to register: Handle comes first")
	case !idName.MatchString(executor):
		return fmt.Errorf("runwright: %q cannot be the name of an executor, %s", executor, rule)
	case !idName.MatchString(callbackID):
		return fmt.Errorf("runwright: %q cannot be the id of a callback, %s", callbackID, rule)
	}
	return nil
}
